"""Every draw and every p."""
