from journeyman.cli import entry

entry()
