"""The service: a queue of searches for a team, behind HTTP (docs/service.md).

settings             what an administrator sets
tables, database     the queue's tables, migrations/ and transactions
queue, leases        what users ask for; what servers take
folders              a search's own folder, which holds all that cannot be made again
kept                 what is made of a search's record, and kept beside it
child                the process of one search; it outlives the server
keeper               takes searches from the queue, starts and watches their processes
runners              where these run: here, or as jobs of a Ray cluster
tokens, access       who a client is, and what it may do
submission           configurations and layouts from outside
house                a server without HTTP: all of the above
app, guard, routes/  HTTP; page/ is for people
client, remote       the same from another machine, over wire
"""
