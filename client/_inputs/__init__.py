"""From files, texts and arrays to what a signature takes."""
