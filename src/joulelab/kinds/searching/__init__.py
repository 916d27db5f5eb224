"""Searches at work: steps are trained, measured, journalled and resumed, whoever trains them."""
