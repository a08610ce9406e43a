"""The service: a queue of searches for a team, behind HTTP (docs/service.md).

settings      what an administrator sets
database      tables, migrations and transactions of the queue
queue         what users ask for and servers take
folders       a search's own folder, which holds all that cannot be made again
child         the process of one search; it outlives the server
keeper        takes searches from the queue, starts and watches their processes
access        who may do what
submission    configurations from outside
app, routes/  HTTP
client        the same from another machine
"""
