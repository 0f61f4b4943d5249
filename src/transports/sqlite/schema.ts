/**
 * The tables of the embedded broker. A message is in exactly one of `waiting`, `delayed` and `leases`; its text is written once and not moved.
 *
 *   messages  what was published; `at` is its place in the queue: when it was published, or when it became due
 *   waiting   in the order in which it is claimed: rank is the priority, negated
 *   delayed   not to be claimed before `due`
 *   leases    claimed by an owner; the row is the fence: whoever settles must still have it
 *   fences    numbers that only rise, see Fence in transport.ts
 *   pauses    queues that workers leave alone
 *   owners    connections that hold leases, and the process to look for; `beat` rises while they live
 */
export const schemaPart = 'transport'

export const schemaSteps: readonly string[] = [
  `CREATE TABLE messages (
     id INTEGER PRIMARY KEY,
     task_key INTEGER NOT NULL,
     queue TEXT NOT NULL,
     priority INTEGER NOT NULL,
     at INTEGER NOT NULL,
     expires INTEGER,
     deliveries INTEGER NOT NULL DEFAULT 0,
     redelivered INTEGER NOT NULL DEFAULT 0,
     head TEXT NOT NULL,
     body NOT NULL
   );
   CREATE INDEX messages_by_task ON messages (task_key);
   CREATE INDEX messages_by_expiry ON messages (expires) WHERE expires IS NOT NULL;
   CREATE TABLE waiting (queue TEXT, rank INTEGER, at INTEGER, id INTEGER, PRIMARY KEY (queue, rank, at, id)) WITHOUT ROWID;
   CREATE TABLE delayed (due INTEGER, id INTEGER, queue TEXT NOT NULL, PRIMARY KEY (due, id)) WITHOUT ROWID;
   CREATE TABLE leases (id INTEGER PRIMARY KEY, owner INTEGER NOT NULL);
   CREATE TABLE owners (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     token TEXT NOT NULL UNIQUE,
     space TEXT NOT NULL,
     pid INTEGER NOT NULL,
     started TEXT NOT NULL,
     ttl_ms INTEGER NOT NULL,
     beat INTEGER NOT NULL DEFAULT 0
   );
   CREATE TABLE dead_letters (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     queue TEXT NOT NULL,
     reason TEXT NOT NULL,
     died_at INTEGER NOT NULL,
     task_key INTEGER NOT NULL,
     priority INTEGER NOT NULL,
     deliveries INTEGER NOT NULL,
     head TEXT NOT NULL,
     body NOT NULL
   );
   CREATE TABLE exchanges (name TEXT PRIMARY KEY, type TEXT NOT NULL, definition TEXT NOT NULL, auto_delete INTEGER NOT NULL) WITHOUT ROWID;
   CREATE TABLE queues (
     name TEXT PRIMARY KEY,
     definition TEXT NOT NULL,
     arguments TEXT NOT NULL,
     auto_delete INTEGER NOT NULL,
     owner INTEGER,
     expires_ms INTEGER,
     used_at INTEGER NOT NULL
   ) WITHOUT ROWID;
   CREATE TABLE bindings (exchange TEXT, routing_key TEXT, queue TEXT, PRIMARY KEY (exchange, routing_key, queue)) WITHOUT ROWID;
   CREATE TABLE consumers (owner INTEGER, consumer INTEGER, queue TEXT, PRIMARY KEY (owner, consumer, queue)) WITHOUT ROWID;
   CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
   INSERT INTO counters (name, value) VALUES ('topology', 1)`,
  'CREATE TABLE fences (key TEXT PRIMARY KEY, position INTEGER NOT NULL, used_at INTEGER NOT NULL) WITHOUT ROWID',
  'CREATE TABLE pauses (queue TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID',
]
