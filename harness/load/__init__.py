"""Load: ways of sending requests, their schedules, the loops and drivers that send them, and figures of what came."""
