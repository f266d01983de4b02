"""The sidebar: panels, lists, what they show, and dropping files onto the viewport."""
