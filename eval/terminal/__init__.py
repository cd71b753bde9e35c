"""What commands print, the codes that they exit with, and figures as text for people."""
