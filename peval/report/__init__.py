"""Results as markdown, figures and terminal lines."""
