"""The page's machinery: blocks, templates, drawings."""
