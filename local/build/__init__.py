"""The platform's programs and images: found, downloaded, or built."""
