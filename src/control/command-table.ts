/**
 * Celery's commands of remote control: what each is called, what it takes, what it does. The command line, `app.control` and the worker's handlers
 * (worker/commands) go by this table.
 */

/** How the text of a command line becomes an argument. */
export type ArgumentKind = 'text' | 'number' | 'boolean' | 'list' | 'json'

export interface CommandArgument {
  /** As it is called on the wire. */
  readonly name: string
  readonly kind: ArgumentKind
  readonly isRequired?: true
}

export interface CommandSpec {
  readonly name: string
  /** Asks a worker, or changes something. */
  readonly kind: 'inspect' | 'control'
  /** Names of older versions. */
  readonly aliases?: readonly string[]
  readonly help: string
  /** In the order in which a command line has them; a list takes all that follows. */
  readonly arguments: readonly CommandArgument[]
  /** For workers among themselves: not offered on the command line. */
  readonly isInternal?: true
  /** Seconds of silence after which no more answers are waited for. Default 1. */
  readonly timeout?: number
  /** No worker answers. */
  readonly isSilent?: true
}

const none: readonly CommandArgument[] = []
const text = (name: string): CommandArgument => ({ name, kind: 'text' })
const number = (name: string): CommandArgument => ({ name, kind: 'number' })
const list = (name: string): CommandArgument => ({ name, kind: 'list' })
const required = (argument: CommandArgument): CommandArgument => ({ ...argument, isRequired: true })

export const commandTable: readonly CommandSpec[] = [
  { name: 'active', kind: 'inspect', aliases: ['dump_active'], help: 'tasks that run now', arguments: none },
  { name: 'active_queues', kind: 'inspect', help: 'queues that the worker takes tasks from', arguments: none },
  { name: 'clock', kind: 'inspect', help: 'the value of the logical clock', arguments: none },
  {
    name: 'conf',
    kind: 'inspect',
    aliases: ['dump_conf'],
    help: 'options that are set, secrets hidden; with true, all of them',
    arguments: [{ name: 'with_defaults', kind: 'boolean' }],
  },
  {
    name: 'hello',
    kind: 'inspect',
    help: 'what a worker that starts asks its neighbours',
    arguments: [text('from_node')],
    isInternal: true,
  },
  { name: 'memdump', kind: 'inspect', help: 'the memory samples that memsample has taken', arguments: [number('samples')] },
  { name: 'memsample', kind: 'inspect', help: 'the memory of the worker process now', arguments: none },
  {
    name: 'objgraph',
    kind: 'inspect',
    help: 'of Python workers: a picture of objects that are not collected',
    arguments: [text('type'), number('num'), number('max_depth')],
    timeout: 60,
  },
  { name: 'ping', kind: 'inspect', help: 'whether the worker answers', arguments: none },
  { name: 'query_task', kind: 'inspect', help: 'what the worker knows of tasks, by their ids', arguments: [required(list('ids'))] },
  {
    name: 'registered',
    kind: 'inspect',
    aliases: ['dump_tasks'],
    help: 'tasks that the worker knows, with the options that are named',
    arguments: [list('taskinfoitems')],
  },
  { name: 'report', kind: 'inspect', help: 'versions and options, for a bug report', arguments: none },
  {
    name: 'reserved',
    kind: 'inspect',
    aliases: ['dump_reserved'],
    help: 'tasks that the worker holds and has not started',
    arguments: none,
  },
  { name: 'revoked', kind: 'inspect', aliases: ['dump_revoked'], help: 'ids of revoked tasks', arguments: none },
  {
    name: 'scheduled',
    kind: 'inspect',
    aliases: ['dump_schedule'],
    help: 'tasks that wait in the worker for their time or their rate limit',
    arguments: none,
  },
  { name: 'stats', kind: 'inspect', help: 'what the worker has done, its pool, broker and resources', arguments: none },

  {
    name: 'add_consumer',
    kind: 'control',
    help: 'take tasks from a queue',
    arguments: [required(text('queue')), text('exchange'), text('exchange_type'), text('routing_key')],
  },
  { name: 'autoscale', kind: 'control', help: 'change the bounds of the pool', arguments: [number('max'), number('min')] },
  { name: 'cancel_consumer', kind: 'control', help: 'take no more tasks from a queue', arguments: [required(text('queue'))] },
  { name: 'disable_events', kind: 'control', help: 'send no more task events', arguments: none },
  {
    name: 'election',
    kind: 'control',
    help: 'let the workers choose one that does something',
    arguments: [required(text('id')), required(text('topic')), { name: 'action', kind: 'json' }],
  },
  { name: 'enable_events', kind: 'control', help: 'send task events', arguments: none },
  { name: 'heartbeat', kind: 'control', help: 'send a heartbeat at once', arguments: none },
  {
    name: 'pause_queue',
    kind: 'control',
    help: 'leave a queue alone: celeriac pause does it for all workers, and for those that start later',
    arguments: [required(text('queue'))],
  },
  { name: 'pool_grow', kind: 'control', help: 'make the pool larger', arguments: [number('n')] },
  { name: 'pool_restart', kind: 'control', help: 'start the processes or threads of the pool anew', arguments: none },
  { name: 'pool_shrink', kind: 'control', help: 'make the pool smaller', arguments: [number('n')] },
  {
    name: 'rate_limit',
    kind: 'control',
    help: 'change how often a task may start on each worker: 10/s, 5/m, 1/h; 0 is no limit',
    arguments: [required(text('task_name')), required(text('rate_limit'))],
  },
  {
    name: 'resume_queue',
    kind: 'control',
    help: 'take tasks from a paused queue again: see celeriac resume',
    arguments: [required(text('queue'))],
  },
  { name: 'revoke', kind: 'control', help: 'do not start these tasks', arguments: [required(list('task_id'))] },
  {
    name: 'revoke_by_stamped_headers',
    kind: 'control',
    help: 'do not start tasks with these stamps: name=value ...',
    arguments: [required(list('headers'))],
  },
  { name: 'shutdown', kind: 'control', help: 'stop, after the tasks that run', arguments: none, isSilent: true },
  {
    name: 'terminate',
    kind: 'control',
    help: 'stop these tasks, also while they run',
    arguments: [required(text('signal')), required(list('task_id'))],
  },
  {
    name: 'time_limit',
    kind: 'control',
    help: 'change the time limits of a task: soft and hard, in seconds',
    arguments: [required(text('task_name')), required(number('soft')), number('hard')],
  },
]

/** By its name, an older name, or the name with dashes. */
export function findCommand(name: string): CommandSpec | undefined {
  const wanted = name.replaceAll('-', '_')
  return commandTable.find((command) => command.name === wanted || command.aliases?.includes(wanted) === true)
}
