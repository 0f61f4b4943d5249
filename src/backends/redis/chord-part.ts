/** A part of a chord as Celery keeps it: `[1, task id, state, result]` (celery/backends/redis.py on_chord_part_return). */
import type { ChordPart } from '../../backend.js'
import { DecodeError } from '../../errors.js'
import { JsonText } from '../../protocol/json-text.js'
import { errorToRemote, remoteToWire } from '../../protocol/remote-error.js'
import { decodeJson, decodeUtf8, encodeJson } from '../../serializers/json.js'
import { storedText } from './stored-text.js'

/** Too short to be nested too deep. */
const shortChars = 100

export interface PartText {
  readonly text: string
  /** What every text of this task begins with, also those that Python writes. */
  readonly head: string
}

/** Throws EncodeError. */
export function writePart({ taskId, status, result }: ChordPart): PartText {
  const head = `[1, ${asciiJson(taskId)}, `
  return { text: `${head}${JSON.stringify(status)}, ${encodeJson(result, 'result')}]`, head }
}

// Not cut out of a parsed part: a parsed float such as 1.0 would come to the body as an integer.
const pattern = /^\s*\[\s*\d+\s*,\s*("(?:[^"\\]|\\.)*")\s*,\s*("(?:[^"\\]|\\.)*")\s*,(.*)\]\s*$/s

/** A part that cannot be read counts as one that has failed: its chord ends, and tells why. Never throws. */
export function readPart(bytes: Buffer, index: number | null): ChordPart {
  try {
    const [, taskId, status, result] = pattern.exec(decodeUtf8(storedText(bytes))) ?? []
    if (taskId === undefined || status === undefined || result === undefined)
      throw new DecodeError('it is no list of 1, a task id, a state and a result')
    checkJson(result)
    return { taskId: String(JSON.parse(taskId)), index, status: String(JSON.parse(status)), result: new JsonText(result.trim()) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const unreadable = new DecodeError(
      `a part of the chord cannot be read: ${reason}. Python peers must write results as JSON (result_serializer = "json").`,
    )
    const wire = remoteToWire(errorToRemote(unreadable))
    return { taskId: 'unknown', index, status: 'FAILURE', result: new JsonText(encodeJson(wire, 'result')) }
  }
}

/** A result is passed on as it is written, so it must be JSON. Most are short, and there may be very many. Throws DecodeError. */
function checkJson(text: string): void {
  if (text.length > shortChars) decodeJson(text)
  else
    try {
      JSON.parse(text)
    } catch {
      decodeJson(text)
    }
}

/** As Python writes text: whoever looks for a task's part compares bytes. */
function asciiJson(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
