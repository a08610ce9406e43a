"""The page for people: plain HTML, style and script, served as they are."""
