"""Questions about the whole lake, as SQL files, and what runs them."""
