import type { AsyncResult } from '../canvas/handles.js'
import { safeLines } from '../internal/safe-text.js'
import { toJson } from './json.js'
import type { Terminal } from './terminal.js'

/** Shows a task's state and what it gave. False: the task failed. Values go to stdout, what went wrong to stderr. */
export async function printResult(
  result: AsyncResult<unknown>,
  terminal: Terminal,
  options: { readonly json: boolean; readonly traceback: boolean },
): Promise<boolean> {
  const state = await result.state()
  const info = await result.info()
  const failed = state === 'FAILURE' || state === 'REVOKED'
  const traceback = failed && (options.json || options.traceback) ? await result.traceback() : null
  if (options.json) {
    const outcome =
      info instanceof Error ? { error: errorAsJson(info), ...(traceback === null ? {} : { traceback }) } : { result: info ?? null }
    terminal.data(toJson({ id: result.id, state, ...outcome }))
  } else if (state === 'SUCCESS') {
    terminal.data(typeof info === 'string' ? info : toJson(info, 2))
  } else {
    terminal.note(`${state}${info === null || info === undefined ? '' : `: ${info instanceof Error ? describe(info) : toJson(info)}`}`)
    if (traceback !== null) terminal.data(safeLines(traceback))
  }
  return !failed
}

function errorAsJson(error: Error): { readonly type: string; readonly message: string } {
  return { type: typeName(error), message: error.message }
}

function describe(error: Error): string {
  return safeLines(`${typeName(error)}: ${error.message}`)
}

/** The class that the task threw, where the error tells of it. */
function typeName(error: Error): string {
  const type: unknown = Reflect.get(error, 'excType')
  return typeof type === 'string' ? type : error.name
}
