"""What people do on the board: replay, cancel, mark."""
