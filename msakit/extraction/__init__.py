"""From media files to stored features."""
