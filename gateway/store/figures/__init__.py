"""What is counted for pages: an index of decisions and sessions, figures by hour and day, and the queries on them.

``folding`` keeps the tables, ``rebuilding`` makes them anew; all other modules read. Every query takes the reach of who
asks first.
"""
