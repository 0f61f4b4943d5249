/** What the body of a chord gets: the results of its headers as a list, or the error of the first that failed. */
import type { ChordPart } from '../../backend.js'
import { JsonText } from '../../protocol/json-text.js'
import { type RemoteErrorData, wireToRemote } from '../../protocol/remote-error.js'
import { repr, reprArgs } from '../../protocol/repr.js'
import type { ResultTuple } from '../../protocol/result.js'
import { encodeJson } from '../../serializers/json.js'

/** `cause` is what the header failed with; `error` what the body fails with for it. */
export type Joined =
  | { readonly results: JsonText }
  | { readonly error: RemoteErrorData; readonly cause: RemoteErrorData; readonly results?: undefined }

/**
 * Puts the parts together. With groups or chords inside of the header the group's tuple was saved, and the list is nested as it says; what it names must be among the parts.
 * As text: what a hundred thousand headers returned is not read only to be written again.
 */
export function joinParts(parts: readonly ChordPart[], tree: ResultTuple | undefined): Joined {
  for (const { taskId, status, result } of parts) {
    if (status === 'SUCCESS') continue
    const cause = wireToRemote(result, null)
    return { error: chordError(`Dependency ${taskId} raised ${reprError(cause)}`), cause }
  }
  if (tree === undefined) return { results: new JsonText(`[${parts.map(({ result }) => encodeJson(result, 'result')).join(',')}]`) }
  const texts = new Map(parts.map(({ taskId, result }) => [taskId, encodeJson(result, 'result')]))
  const missing = missingIn(tree, texts)
  if (missing !== undefined) return lost(`the result of ${missing} is not among its parts`)
  return { results: new JsonText(textOf(tree, texts)) }
}

/** The store of the chord has forgotten it: what its headers returned is gone. */
export function lost(what: string): Exclude<Joined, { readonly results: JsonText }> {
  const error = chordError(`state lost: ${what}`)
  return { error, cause: error }
}

/** As Celery stores it. */
export function chordError(message: string): RemoteErrorData {
  return celeryError('ChordError', message)
}

/** An error that Celery itself has. */
export function celeryError(excType: string, message: string): RemoteErrorData {
  return { excType, excModule: 'celery.exceptions', excMessage: [message], traceback: null }
}

/** Python's repr of an exception: `ValueError('boom', 42)`. */
export function reprError({ excType, excMessage }: RemoteErrorData): string {
  return `${excType}${excMessage.length === 1 ? `(${repr(excMessage[0])})` : reprArgs(excMessage)}`
}

function missingIn([[id], members]: ResultTuple, texts: ReadonlyMap<string, string>): string | undefined {
  if (members === null) return texts.has(id) ? undefined : id
  for (const member of members) {
    const missing = missingIn(member, texts)
    if (missing !== undefined) return missing
  }
  return undefined
}

function textOf([[id], members]: ResultTuple, texts: ReadonlyMap<string, string>): string {
  return members === null ? (texts.get(id) ?? 'null') : `[${members.map((member) => textOf(member, texts)).join(',')}]`
}
