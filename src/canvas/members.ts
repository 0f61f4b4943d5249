/** What is in a signature: its kind and its members, read from what came in a message or was made here. */
import { InvalidMessageError, show } from '../errors.js'
import { isRecord } from '../protocol/plain.js'
import { parseSignature, type WireSignature } from '../protocol/signature.js'
import { Signature } from './signature.js'

export type Kind = 'task' | 'chain' | 'group' | 'chord'

export type Options = Readonly<Record<string, unknown>>

/** A type that is none of the three is one that a program has registered with Celery: it is sent as a task. */
export function kindOf({ subtask_type: type }: WireSignature): Kind {
  return type === 'chain' || type === 'group' || type === 'chord' ? type : 'task'
}

/** A member as a signature. What was made here is trusted, what came in a message is read again. `celery.chunks` is the group that it stands for. */
export function signatureAt(value: unknown, where: string): WireSignature {
  const signature = value instanceof Signature ? value.wire() : parseSignature(value, where)
  return signature.task === 'celery.chunks' && signature.subtask_type === null ? groupOfChunks(signature) : signature
}

/** The members of a chain or a group, as they stand there. */
export function tasksOf(signature: WireSignature): readonly unknown[] {
  const { tasks } = signature.kwargs
  if (Array.isArray(tasks)) return tasks
  if (tasks === undefined || tasks === null) return []
  throw new InvalidMessageError(`expected kwargs.tasks of a ${kindOf(signature)} to be an array of signatures, got: ${show(tasks)}`)
}

export function withTasks(signature: WireSignature, tasks: readonly unknown[]): WireSignature {
  return { ...signature, kwargs: { ...signature.kwargs, tasks } }
}

export function groupOf(tasks: readonly unknown[], options: Options = {}): WireSignature {
  return { task: 'celery.group', args: [], kwargs: { tasks }, options, subtask_type: 'group', immutable: false }
}

export function chordOf(header: WireSignature, body: WireSignature): WireSignature {
  return { task: 'celery.chord', args: [], kwargs: { kwargs: {}, header, body }, options: {}, subtask_type: 'chord', immutable: false }
}

/** The header of a chord as a group with its id, if it has one: Python writes a group, or a list of signatures whose id is then the chord's. */
export function headerOf({ kwargs, options }: WireSignature): WireSignature {
  const { header, body } = kwargs
  if (Array.isArray(header)) {
    // Before a chord is frozen its id is the one that its body is to get.
    const isFrozen = isRecord(body) && isRecord(body.options) && nameAt(body.options, 'task_id') !== undefined
    return groupOf(header, isFrozen && options.task_id !== undefined ? { task_id: options.task_id } : {})
  }
  if (header === undefined || header === null) return groupOf([])
  const signature = signatureAt(header, 'kwargs.header')
  switch (kindOf(signature)) {
    case 'group':
      return signature
    // As Celery: the tasks of a chain in this place are the header.
    case 'chain':
      return groupOf(tasksOf(signature))
    default:
      return groupOf([signature])
  }
}

/** The body of a chord. Throws InvalidMessageError for a chord without one: nothing could ever be done with its results. */
export function bodyOf({ kwargs }: WireSignature): WireSignature {
  return signatureAt(kwargs.body, 'kwargs.body')
}

export function withBody(chord: WireSignature, body: WireSignature): WireSignature {
  return { ...chord, kwargs: { ...chord.kwargs, body } }
}

/** What `option` of a signature holds as a list: Celery writes one signature, or many. */
export function listAt(options: Options, option: string): readonly unknown[] {
  const value = options[option]
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : [value]
}

/** A name among the options; undefined when there is none. */
export function nameAt(options: Options, option: string): string | undefined {
  const value = options[option]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return value
  throw new InvalidMessageError(`expected the option ${option} of a signature to be text, got: ${show(value)}`)
}

/** How many parts a chord with this header waits for: a group counts its members, a chain its last element that counts, a chord its body. */
export function chordSize(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, member) => sum + chordSize(member), 0)
  // Most headers have tasks only, and very many of them: what is one task needs no reading.
  if (value instanceof Signature && value.call.subtaskType === null && value.task !== 'celery.chunks') return 1
  const signature = signatureAt(value, 'header')
  switch (kindOf(signature)) {
    case 'task':
      return 1
    case 'group':
      return chordSize(tasksOf(signature))
    case 'chord':
      return chordSize(bodyOf(signature))
    case 'chain': {
      const tasks = tasksOf(signature)
      for (let index = tasks.length - 1; index >= 0; index--) {
        const size = chordSize(tasks[index])
        if (size > 0) return size
      }
      return 0
    }
  }
}

/** chunks(n) of a list is a group of starmaps over its parts, as Celery sends it. */
function groupOfChunks({ kwargs: { task, it, n }, options }: WireSignature): WireSignature {
  if (!Array.isArray(it)) throw new InvalidMessageError(`expected kwargs.it of celery.chunks to be an array, got: ${show(it)}`)
  if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 1)
    throw new InvalidMessageError(`expected kwargs.n of celery.chunks to be a whole number above 0, got: ${show(n)}`)
  const parts: WireSignature[] = []
  for (let start = 0; start < it.length; start += n) {
    const kwargs = { task, it: it.slice(start, start + n) }
    parts.push({ task: 'celery.starmap', args: [], kwargs, options: {}, subtask_type: null, immutable: true })
  }
  return groupOf(parts, options)
}

/** The name of the task that a map or starmap calls: it goes where that one goes. Undefined for every other task. */
export function mappedTask(task: string, kwargs: Readonly<Record<string, unknown>>): string | undefined {
  if (task !== 'celery.map' && task !== 'celery.starmap' && task !== 'celery.chunks') return undefined
  const { task: mapped } = kwargs
  return isRecord(mapped) && typeof mapped.task === 'string' ? mapped.task : undefined
}
