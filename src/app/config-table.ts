/**
 * Every option of an app, one row each. Types, validation, spellings, environment names, command line flags, docs/config.md and `inspect-config`
 * come out of this table. An option stands here only when something reads it: nothing is accepted and ignored (test/house.test.ts holds that).
 */
import type { Address } from '../internal/address.js'
import { bool, listOf, nullable, oneOf, seconds, secondsAbove0, text, wholeNumber } from '../internal/option-kinds.js'
import { eventRows } from './config-events.js'
import {
  backendUrl,
  brokerUrls,
  bytes,
  deliveryMode,
  driverOptions,
  expiry,
  limitUrl,
  listenAddress,
  logger,
  logLevel,
  name,
  poolBounds,
  rate,
  storeUrl,
  timeZone,
} from './config-kinds.js'
import { celeryRetryPolicy, exchangeType, queues, retryPolicy, routes } from './config-routing.js'
import { type Row, row } from './config-row.js'
import { signingRows } from './config-signing.js'

export type { Group, Row } from './config-row.js'

export const configTable = {
  brokerUrl: row('Broker and results', brokerUrls, ['sqlite://'], {
    sentence:
      'The broker that messages go through: `sqlite://` is a file in .celeriac/, `redis://` a Redis server, `amqp://` RabbitMQ, `memory://` this process; `{ client }` is a Redis client of yours. Several fail over in order.',
    flag: '-b, --broker <url>',
  }),
  resultBackend: {
    group: 'Broker and results',
    kind: backendUrl,
    default: {
      says: "the broker's own store",
      find: ({ brokerUrl: [broker = 'sqlite://'] }) => (typeof broker === 'string' && /^(py)?amqps?:/i.test(broker) ? 'disabled' : broker),
    },
    sentence:
      'Where states and results are kept; `disabled` keeps none, and `rpc://` sends them back through the broker (RabbitMQ) to the process that asked. A broker that cannot keep results (RabbitMQ) has `disabled` as its default.',
    flag: '--result-backend <url>',
  } satisfies Row<Address, Address>,
  brokerTransportOptions: row(
    'Broker and results',
    driverOptions,
    {},
    {
      sentence:
        "Options of the broker's driver; see [Redis as broker](#redis-as-broker) and [RabbitMQ as broker](#rabbitmq-as-broker). The other drivers take none.",
    },
  ),
  resultBackendTransportOptions: row(
    'Broker and results',
    driverOptions,
    {},
    {
      sentence:
        "Options of the result backend's driver; see [Redis as result backend](#redis-as-result-backend) and [results through RabbitMQ](#results-through-rabbitmq). The other drivers take none.",
    },
  ),
  brokerConnectionTimeout: row('Broker and results', secondsAbove0, 4, {
    sentence: 'How long opening a connection to the broker may take.',
  }),
  brokerConnectionRetryOnStartup: row('Broker and results', bool, true, {
    sentence: 'A worker that finds no broker when it starts tries again until there is one; otherwise it exits with 69.',
  }),
  publishTimeout: row('Broker and results', secondsAbove0, 5, {
    sentence: 'How long a publish may take, retries included, until the broker has confirmed the message.',
    own: true,
  }),
  taskPublishRetry: row('Broker and results', bool, true, {
    sentence: 'Try again to publish when the connection fails, as taskPublishRetryPolicy says.',
  }),
  taskPublishRetryPolicy: row('Broker and results', retryPolicy, celeryRetryPolicy, {
    sentence: 'How often and how fast a failed publish is tried again: maxRetries, intervalStart, intervalStep, intervalMax.',
  }),
  resultExpires: row('Broker and results', expiry, 86_400, {
    sentence: 'How long a result is kept after the task has ended; null or 0 keeps it for ever.',
  }),
  resultPersistent: row('Broker and results', bool, false, {
    sentence: 'Results that `rpc://` sends outlive a restart of the broker. Other backends keep what their server keeps.',
  }),
  resultExtended: row('Broker and results', bool, false, {
    sentence: "Store the task's name, arguments, worker, queue and retries with its result.",
  }),
  resultMaxBytes: row('Broker and results', nullable(bytes), 1024 ** 2, {
    celery: null,
    sentence: 'A result over this size fails its task with ERR_TOO_LARGE.',
    own: true,
  }),

  taskSerializer: row('Messages', text, 'json', {
    sentence:
      'How arguments are written: `json`, `msgpack`, `yaml`, or `auth` (signed; see [security](guide/security.md#signed-messages)).',
  }),
  acceptContent: row('Messages', listOf('serializer names or content types', text), ['json'], {
    sentence: 'The content types that are decoded; messages of another type are refused unread. Results are JSON, whatever stands here.',
  }),
  taskCompression: row('Messages', nullable(oneOf('gzip', 'zlib', 'brotli', 'zstd')), null, {
    sentence: 'How message bodies are compressed. zstd needs Node 22.15 or later.',
  }),
  messageMaxBytes: row('Messages', nullable(bytes), 16 * 1024 ** 2, {
    celery: null,
    sentence: 'A message body over this size, decompressed, is not sent, and not read by a worker.',
    own: true,
  }),
  messageWarnBytes: row('Messages', nullable(bytes), 1024 ** 2, {
    sentence: 'A message body over this size is sent with a warning.',
    own: true,
  }),
  timezone: row('Messages', timeZone, 'UTC', { sentence: 'The time zone in which times are shown and eta is written.' }),
  taskDefaultDeliveryMode: row('Messages', deliveryMode, 2, {
    sentence: 'Whether messages outlive a restart of the broker, where the broker leaves the choice.',
  }),

  ...signingRows,

  taskDefaultQueue: row('Routing', name, 'celery', { sentence: 'The queue of tasks that no route, task or call sends elsewhere.' }),
  taskDefaultExchange: row('Routing', nullable(name), null, {
    sentence: 'The exchange of the default queue; null is the name of that queue, as for every other queue that names none.',
  }),
  taskDefaultExchangeType: row('Routing', exchangeType, 'direct', { sentence: 'The type of exchanges that are declared without one.' }),
  taskDefaultRoutingKey: row('Routing', nullable(name), null, { sentence: 'The routing key of the default queue; null is its name.' }),
  taskDefaultQueueType: row('Routing', oneOf('classic', 'quorum'), 'classic', {
    sentence:
      'The type of the default queue where taskQueues does not describe it: `quorum` declares it with `x-queue-type: quorum`, which only RabbitMQ has.',
  }),
  taskCreateMissingQueueType: row('Routing', oneOf('classic', 'quorum'), 'classic', {
    sentence: 'The same for queues that are not in taskQueues and are declared when they are used.',
  }),
  taskDefaultPriority: row('Routing', nullable(wholeNumber(0, 255)), null, {
    sentence: 'The priority of messages that are sent without one; null sends none.',
  }),
  taskInheritParentPriority: row('Routing', bool, false, {
    sentence: 'A task sent by a running task has the priority of that task, unless it is given one.',
  }),
  taskQueues: row('Routing', nullable(queues), null, {
    sentence: 'The queues that exist, and those a worker consumes by default; null is the default queue alone.',
  }),
  taskRoutes: row('Routing', routes, [], {
    sentence: 'Which queue a task goes to: names and globs such as `mail.*`, regular expressions, or a function.',
  }),
  taskCreateMissingQueues: row('Routing', bool, true, {
    sentence: 'Declare a queue that is not in taskQueues when it is used; otherwise that is an error.',
  }),
  taskQueueMaxPriority: row('Routing', nullable(wholeNumber(1, 255)), null, {
    sentence:
      'Declares every queue with this `x-max-priority`, unless its own arguments have one: without it RabbitMQ knows no priorities.',
  }),

  taskAcksLate: row('Tasks', bool, true, {
    celery: false,
    sentence: 'Acknowledge a message after its task has run: the task of a killed worker runs again. Otherwise just before: it is lost.',
  }),
  taskAcksOnFailureOrTimeout: row('Tasks', bool, true, {
    sentence: 'With late acks: acknowledge a task that failed or ran into its time limit too.',
  }),
  taskRejectOnWorkerLost: row('Tasks', bool, true, {
    celery: false,
    sentence: 'With late acks: run a task again whose process died. Otherwise it fails with WorkerLostError.',
  }),
  taskDeliveryLimit: row('Tasks', nullable(wholeNumber(1)), 5, {
    celery: null,
    sentence: 'How often a message may lose its worker before it goes to the dead letters; null is no limit.',
    own: true,
  }),
  taskUnknown: row('Tasks', oneOf('dead-letter', 'requeue'), 'dead-letter', {
    sentence: 'What a worker does with a message of a task that it does not know.',
    own: true,
  }),
  taskIgnoreResult: row('Tasks', bool, false, { sentence: 'Store no states and results, unless the task or the call says otherwise.' }),
  taskStoreErrorsEvenIfIgnored: row('Tasks', bool, false, { sentence: 'Store the failure of a task whose result is ignored.' }),
  taskTrackStarted: row('Tasks', bool, false, { sentence: 'Store the state STARTED when a task begins to run.' }),
  taskAllowErrorCbOnChordHeader: row('Tasks', bool, false, {
    sentence: 'Errbacks of a chord are sent for each of its header tasks that fails, too, and not for its body alone.',
  }),
  taskTimeLimit: row('Tasks', nullable(secondsAbove0), null, {
    sentence: 'Kill the process or thread of a task that runs longer, in pools that can.',
    flag: '--time-limit <duration>',
  }),
  taskSoftTimeLimit: row('Tasks', nullable(secondsAbove0), null, {
    sentence: 'Abort the signal of a task that runs longer, with SoftTimeLimitExceeded.',
    flag: '--soft-time-limit <duration>',
  }),
  taskDefaultRateLimit: row('Tasks', nullable(rate), null, {
    sentence: 'How often tasks of one name may start on each worker, unless the task says otherwise: `10/s`, `5/m`, `1/h`.',
  }),
  limitStore: row('Tasks', nullable(limitUrl), null, {
    sentence:
      'Where workers keep the limits that they share (`scope: "cluster"`, `concurrency`) and senders the locks of unique tasks: `redis://`, `sqlite://` or `memory://`. null: at the broker where it is one of these, else at the result backend.',
    own: true,
  }),
  limitLease: row('Tasks', secondsAbove0, 30, {
    sentence: 'How long the places of a worker that died under a `concurrency` limit stay taken.',
    own: true,
  }),
  uniqueTtl: row('Tasks', secondsAbove0, 86_400, {
    sentence: 'How long the lock of a unique task is held at most, counted from when the task may run; a call may say otherwise.',
    own: true,
  }),
  taskAlwaysEager: row('Tasks', bool, false, { sentence: 'Run tasks where they are called, without a broker.' }),
  taskEagerPropagates: row('Tasks', bool, false, { sentence: 'In eager mode: the call throws what the task throws.' }),
  taskStoreEagerResult: row('Tasks', bool, false, { sentence: 'In eager mode: store results in the backend too.' }),

  imports: row('Worker', listOf('module names or paths', text), [], {
    sentence: 'Modules that a worker imports when it starts: those that define tasks.',
  }),
  include: row('Worker', listOf('module names or paths', text), [], {
    sentence: 'Modules that a worker imports beside those of imports.',
    flag: '-I, --include <modules>',
  }),
  workerPool: row('Worker', oneOf('prefork', 'threads', 'async', 'solo'), 'prefork', {
    sentence: 'Where tasks run: child processes, threads, this process many at a time, or this process one at a time.',
    flag: '-P, --pool <pool>',
  }),
  workerConcurrency: {
    group: 'Worker',
    kind: wholeNumber(1),
    default: { says: 'the number of CPUs for prefork and threads, 100 for async, whose tasks mostly wait', find: () => null },
    sentence: 'How many tasks run at the same time; in the pools prefork and threads, how many children there are.',
    flag: '-c, --concurrency <number>',
  } satisfies Row<number, number | null>,
  workerChildConcurrency: row('Worker', wholeNumber(1), 1, {
    sentence: 'How many tasks one child process or thread runs at the same time: above 1 for tasks that mostly wait.',
    own: true,
  }),
  workerPrefetchMultiplier: row('Worker', wholeNumber(0), 4, {
    sentence:
      'How many messages a worker holds for each task that can run; 0 is no limit. With 1, no child process or thread has a task ahead.',
    flag: '--prefetch-multiplier <number>',
  }),
  workerOptimization: row('Worker', oneOf('default', 'fair'), 'default', {
    sentence:
      'With `fair`, a child process or thread has the task that it runs, and no other. Otherwise short tasks are sent ahead to it, so that it need not wait for the next. The worker itself holds more of short tasks in either case; a prefetch multiplier of 1 stops that, too.',
    own: true,
    flag: '-O, --optimization <profile>',
  }),
  workerMaxTasksPerChild: row('Worker', nullable(wholeNumber(1)), null, {
    sentence: 'Replace a child process or thread after so many tasks.',
    flag: '--max-tasks-per-child <number>',
  }),
  workerMaxMemoryPerChild: row('Worker', nullable(wholeNumber(1)), null, {
    sentence: 'Replace a child process (by its resident memory) or a thread (by its heap) that has more than so many KiB after a task.',
    flag: '--max-memory-per-child <KiB>',
  }),
  workerMaxHeapPerChild: row('Worker', nullable(wholeNumber(1)), null, {
    sentence:
      'A child process or thread whose JavaScript heap would be over so many KiB in the middle of a task ends, and the task has lost what ran it. By default Node decides.',
    own: true,
    flag: '--max-heap-per-child <KiB>',
  }),
  workerAutoscale: row('Worker', nullable(poolBounds), null, {
    sentence: 'Make the pool as large as the tasks that the worker holds need, between the second number and the first.',
    own: true,
    flag: '--autoscale <max,min>',
  }),
  workerDisableRateLimits: row('Worker', bool, false, { sentence: 'Keep to no rate limits of tasks.' }),
  workerStateDb: row('Worker', nullable(text), null, {
    sentence:
      'A file in which the worker keeps the ids of revoked tasks over its restarts. Each worker needs one of its own: `%n` and `%h` as in workerLogFile.',
    flag: '-S, --statedb <path>',
  }),
  workerSoftShutdownTimeout: row('Worker', seconds, 0, {
    sentence:
      'How long SIGQUIT, a second SIGINT and `stop({ mode: "soft" })` wait for running tasks before they cut them off; then their signal aborts, and a second later they go back to their queue.',
  }),
  workerEnableSoftShutdownOnIdle: row('Worker', bool, false, {
    sentence: 'A soft stop takes all of `workerSoftShutdownTimeout`, even when no task runs.',
  }),
  workerRemapSigterm: row('Worker', nullable(oneOf('SIGQUIT')), null, {
    sentence:
      'With `SIGQUIT`, SIGTERM stops a worker as SIGQUIT does: for supervisors that know no other signal. Also by the environment variable `REMAP_SIGTERM`, as in Celery.',
    own: true,
  }),
  workerHealthPort: row('Worker', nullable(listenAddress), null, {
    sentence:
      'Answer probes over HTTP: `/healthz` while the process lives, `/readyz` while it takes tasks. A port of this machine alone, or `host:port`: `0.0.0.0:9808`.',
    own: true,
    flag: '--health-port <port>',
  }),
  workerDeafTimeout: row('Worker', nullable(secondsAbove0), 30, {
    sentence:
      'A worker that has free places and gets nothing for so long, although messages wait in its queues, connects to its broker anew; null: it does not look.',
    own: true,
  }),
  workerStuckTimeout: row('Worker', nullable(secondsAbove0), 10, {
    sentence:
      'In pools that run tasks in this process: a task that blocks the event loop for longer is named, and ends the worker with exit code 70; null: it may.',
    own: true,
  }),
  workerLogLevel: row('Worker', logLevel, 'info', {
    sentence: 'The least severe log lines that are written.',
    own: true,
    flag: '-l, --loglevel <level>',
  }),
  workerLogFormat: row('Worker', oneOf('auto', 'human', 'json'), 'auto', {
    sentence: 'Log lines for people or as JSON; auto is human on a terminal and JSON elsewhere.',
    own: true,
    flag: '--log-format <format>',
  }),
  workerLogFile: row('Worker', nullable(text), null, {
    sentence:
      'A file that log lines are added to, instead of the standard error output: those of child processes, too. `%n` in it is the name of the worker before the @, `%h` the host. It may be renamed by logrotate.',
    own: true,
    flag: '-f, --logfile <path>',
  }),
  logger: row('Worker', nullable(logger), null, {
    sentence: 'Takes the log lines instead of the standard output: pino, console or the like.',
    own: true,
  }),

  ...eventRows,

  beatStore: {
    group: 'Beat',
    kind: storeUrl,
    default: {
      says: "the broker's own store; with RabbitMQ, `sqlite://`",
      find: ({ brokerUrl: [broker = 'sqlite://'] }) => (typeof broker === 'string' && /^(py)?amqps?:/i.test(broker) ? 'sqlite://' : broker),
    },
    sentence:
      'Where schedules and their history are kept, and who leads of several beats: `sqlite://`, `redis://`, `file://` (JSON) or `memory://`. Beats on several hosts need a Redis.',
    own: true,
    flag: '--store <url>',
  } satisfies Row<Address, Address>,
  beatLease: row('Beat', secondsAbove0, 10, {
    sentence: 'Another beat takes over when the one that leads has been silent for so long.',
    own: true,
    flag: '--lease <duration>',
  }),
  beatMaxLoopInterval: row('Beat', secondsAbove0, 1, {
    sentence: 'How long beat sleeps at most before it looks at the clock and for changes of the schedule.',
    flag: '--max-interval <duration>',
  }),
  beatCronStartingDeadline: row('Beat', nullable(seconds), null, {
    sentence: 'A crontab time that was missed by more is left out, in entries without a `misfire` of their own; null is no limit.',
  }),
  beatHistory: row('Beat', wholeNumber(1), 100, {
    sentence: 'How many runs are kept in the history of each entry.',
    own: true,
  }),
}

export type OptionName = keyof typeof configTable

type InOf<R> = R extends Row<infer In, infer _Out> ? In : never
type OutOf<R> = R extends Row<infer _In, infer Out> ? Out : never

/** Every option with its value: what the parts of celeriac are given theirs from. */
export type Config = { readonly [K in OptionName]: OutOf<(typeof configTable)[K]> }
/** Options as a user gives them, by their own names. */
export type OptionInput = { readonly [K in OptionName]?: InOf<(typeof configTable)[K]> | undefined }

/** The table for those who go through all rows. */
export const rows: readonly (readonly [OptionName, Row<unknown, unknown>])[] = Object.entries(configTable) as [
  OptionName,
  Row<unknown, unknown>,
][] // entries() forgets which names there are
