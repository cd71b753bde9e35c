"""What each kind of page shows, as plain JSON data."""
