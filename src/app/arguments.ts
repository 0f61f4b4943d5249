import type { StandardSchemaV1 } from '@standard-schema/spec'
import { ArgumentsInvalidError } from '../errors.js'
import type { TaskDefinition } from './task.js'

/** Arguments as they travel: positional ones and keywords. */
export interface Arguments {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

/**
 * What a caller gave, put in the form it travels in and checked against the task's schema.
 * The caller's own values are sent, not what the schema made of them: the worker applies the schema too, and defaults and coercions must happen once.
 */
export function checkCall(task: TaskDefinition, call: Arguments): Arguments | Promise<Arguments> {
  const schema = task.kwargsSchema ?? task.argsSchema
  if (schema === undefined) {
    // Keywords have names to be wrong; positional values have nothing to be held against.
    if (task.params.length > 0) bind(task, call)
    return call
  }
  const bound = bind(task, call)
  const checked = schema['~standard'].validate(task.kwargsSchema === undefined ? bound : bound[0])
  const refuse = (result: StandardSchemaV1.Result<unknown>): Arguments => {
    valid(task, result)
    return call
  }
  return checked instanceof Promise ? checked.then(refuse) : refuse(checked)
}

/** The list that the task's function is called with (without its context): keywords put in their places, schema applied. A promise where the schema gives one. */
export function boundArguments(task: TaskDefinition, call: Arguments): readonly unknown[] | Promise<readonly unknown[]> {
  const bound = bind(task, call)
  const schema = task.kwargsSchema ?? task.argsSchema
  if (schema === undefined) return bound
  const isOne = task.kwargsSchema !== undefined
  const checked = schema['~standard'].validate(isOne ? bound[0] : bound)
  const accept = (result: StandardSchemaV1.Result<unknown>): readonly unknown[] => {
    const value = valid(task, result)
    // The schema of all arguments is one of a list.
    return isOne ? [value] : (value as unknown[])
  }
  return checked instanceof Promise ? checked.then(accept) : accept(checked)
}

function bind(task: TaskDefinition, { args, kwargs }: Arguments): readonly unknown[] {
  if (task.takesCall === true) return [args, kwargs]
  if (task.kwargsSchema !== undefined) return [asObject(task, args, kwargs)]
  const names = Object.keys(kwargs)
  if (names.length === 0) return args
  if (task.params.length === 0) {
    throw invalid(
      task,
      names[0] ?? '',
      `got keyword arguments (${names.join(', ')}), but the task declares no parameter names; give it params: [...]`,
    )
  }
  const bound = [...args]
  for (const name of names) {
    const index = task.params.indexOf(name)
    if (index < 0) throw invalid(task, name, `unknown parameter; the task has: ${task.params.join(', ')}`)
    if (index < args.length) throw invalid(task, name, `given twice: as positional argument ${index} and by name`)
    bound[index] = kwargs[name]
  }
  // A hole that a keyword after it left is an argument that was not given.
  return Array.from(bound)
}

/** A task of one object takes positional values too, in the order of its `params`: a chain fills the first one. */
function asObject(task: TaskDefinition, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const input: Record<string, unknown> = Object.create(null)
  if (args.length > task.params.length) {
    throw invalid(
      task,
      '',
      `got ${args.length} positional arguments, but the task takes keywords${task.params.length === 0 ? '' : ` and positionally only: ${task.params.join(', ')}`}`,
    )
  }
  for (const [index, value] of args.entries()) input[task.params[index] as string] = value
  for (const [name, value] of Object.entries(kwargs)) {
    if (Object.hasOwn(input, name)) throw invalid(task, name, 'given twice: positionally and by name')
    input[name] = value
  }
  return { ...input }
}

function valid(task: TaskDefinition, result: StandardSchemaV1.Result<unknown>): unknown {
  if (result.issues === undefined) return result.value
  throw new ArgumentsInvalidError(
    task.name,
    result.issues.map((issue) => ({ path: pathOf(task, issue.path ?? []), message: issue.message })),
  )
}

function invalid(task: TaskDefinition, path: string, message: string): ArgumentsInvalidError {
  return new ArgumentsInvalidError(task.name, [{ path, message }])
}

function pathOf(task: TaskDefinition, path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  const keys = path.map((segment) => (typeof segment === 'object' ? segment.key : segment))
  const text = keys.map((key, index) => (typeof key === 'number' ? `[${key}]` : index === 0 ? String(key) : `.${String(key)}`)).join('')
  return task.kwargsSchema === undefined ? `args${text}` : text
}
