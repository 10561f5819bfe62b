"""One folder = one Lambda function; only handlers live here."""
