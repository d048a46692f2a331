"""What brings the work of other toolkits here."""
