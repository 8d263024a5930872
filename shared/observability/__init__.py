"""What a running system tells about itself: metrics, traces, alerts. Import each primitive from its own module."""
