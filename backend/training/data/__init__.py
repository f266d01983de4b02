"""Where training pictures come from: people, frames of them, and what is known of each."""
