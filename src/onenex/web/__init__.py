"""What the web pages of the node and of reader studies share: passwords, sessions, and what keeps strangers out."""
