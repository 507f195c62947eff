"""The framework: engine, backends, traces, board and command line. Its public face is the package ``mixroute``."""
