"""From named columns to the arrays of events: momenta, expressions, selections."""
