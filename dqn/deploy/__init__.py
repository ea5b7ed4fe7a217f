"""Trained policies for other programs: functions of observations, or exported files."""
