"""Schedule -> outreach settled, webhook checked."""
