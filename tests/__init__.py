"""Tests by room; what several files share lies in the modules beside this one."""
