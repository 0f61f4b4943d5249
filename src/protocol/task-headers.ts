/** Names of headers: which belong to the protocol, which to a broker; all others are the caller's own (`customHeaders`). */

// The attributes of celery/app/task.py Context, and the wire's own names beside them.
const taskHeaders: ReadonlySet<string> = new Set(
  [
    'lang task id shadow eta expires group group_index retries timelimit time_limit soft_time_limit root_id parent_id argsrepr kwargsrepr origin',
    'ignore_result replaced_task_nesting stamped_headers stamps compression meth taskset utc',
    'args kwargs callbacks errbacks chain chord called_directly correlation_id delivery_info headers hostname is_eager logfile loglevel properties reply_to',
  ].flatMap((line) => line.split(' ')),
)

/** The keys of a task's limits, by their templates, as the sender found them. */
export const limitKeysHeader = 'x-celeriac-limit-keys'
/** The lock that the task holds: its name, and for how many ms. */
export const lockHeader = 'x-celeriac-lock'

/** True for a name that the protocol uses, so that a caller may not. */
export function isTaskHeader(name: string): boolean {
  return taskHeaders.has(name) || name === limitKeysHeader || name === lockHeader
}

/** On a copy that was sent once more because nobody could say whether the first one had arrived: its consumer looks at the result before it runs anything. */
export const resentHeader = 'x-celeriac-resent'

/**
 * True for what a broker adds on the way: RabbitMQ's death and delivery counts, Celery's leftover `redelivered`; and our own `resentHeader`.
 * Publishing `x-death` again makes RabbitMQ drop the message as a cycle.
 */
export function isBrokerHeader(name: string): boolean {
  if (name === 'redelivered' || name === resentHeader) return true
  return name.startsWith('x-') && /^x-(?:death|(?:first|last)-death-\w+|delivery-count|acquired-count|opt-\S+)$/.test(name)
}
