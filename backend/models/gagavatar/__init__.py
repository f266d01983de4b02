"""GAGAvatar (Chu & Harada 2024): the released network, with weights that the user brings."""
