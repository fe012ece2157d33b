"""A fleet of many workers played through a day, to choose policies before anybody pays for one."""
