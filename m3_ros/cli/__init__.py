"""The command line `m3`: one file a command; the only room besides the viewer that prints and draws."""
