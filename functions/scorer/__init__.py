"""Schedule -> scores, and outreach for those who are about to leave."""
