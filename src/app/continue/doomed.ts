/** Who is told when something fails: all tasks of a workflow that will never run because of it. A chain or a chord always ends, with a result or with an error. */
import { bodyOf, headerOf, kindOf, listAt, nameAt, type Options, signatureAt, tasksOf } from '../../canvas/members.js'
import type { WireSignature } from '../../protocol/signature.js'
import { encodeJson } from '../../serializers/json.js'

/** A task that will never run. What its signature says of it stands here as it came; null is "nothing". */
export interface Doomed {
  readonly id: string
  readonly parentId: string | null
  readonly rootId: string | null
  readonly groupId: string | null
  readonly groupIndex: number | null
  /** The chord that waits for it: its part has to be returned. */
  readonly chord: unknown
  /** Those who asked to be told of its failure: of the body of a chord. */
  readonly errbacks: readonly unknown[]
  readonly ignoresResult: boolean
  /** Where its failure goes, where results are messages: a signature that was sent has it. */
  readonly replyTo: string | undefined
}

/** A signature, and what is around it. */
interface Place {
  readonly given: unknown
  /** What it takes over when it says nothing itself: the end of a composite has that one's id and chord. */
  readonly outer: Options
  /** Null: nobody is told. */
  readonly errbacks: readonly unknown[] | null
  /** False in the header of a chord that was never started: nobody counts its parts. */
  readonly counts: boolean
}

/** The rest of a chain: every task in it, with the bodies of its chords. Errbacks are those of the task that failed; here are none. */
export function doomedInChain(chain: readonly unknown[]): Iterable<Doomed> {
  return walk(chain.map((given) => ({ given, outer: {}, errbacks: null, counts: true })))
}

/** The body of a chord that failed: its last task (of a group every member), with what follows it, and with its errbacks. */
export function doomedBody(body: WireSignature): Iterable<Doomed> {
  const after = listAt(body.options, 'chain').map((given) => ({ given, outer: {}, errbacks: null, counts: true }))
  return walk([{ given: body, outer: {}, errbacks: [], counts: true }, ...after])
}

/** A loop, not a recursion: a workflow may be deeper than the stack. */
function* walk(places: readonly Place[]): Iterable<Doomed> {
  const waiting = places.toReversed()
  for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
    const signature = signatureAt(place.given, 'signature')
    const options: Options = { ...place.outer, ...signature.options }
    const errbacks = place.errbacks === null ? null : [...place.errbacks, ...listAt(signature.options, 'link_error')]
    const { counts } = place
    switch (kindOf(signature)) {
      case 'chain': {
        const steps = [...tasksOf(signature)]
        const last = steps.pop()
        for (const given of steps) waiting.push({ given, outer: {}, errbacks: null, counts })
        if (last !== undefined) waiting.push({ given: last, outer: ofEnd(options), errbacks, counts })
        break
      }
      case 'group': {
        const id = nameAt(options, 'task_id')
        // As Celery: the failure of a body stands under its group's id, too.
        if (id !== undefined && errbacks !== null) yield { ...doomed(id, {}), chord: null }
        for (const given of tasksOf(signature)) waiting.push({ given, outer: ofMembers(options), errbacks, counts })
        break
      }
      case 'chord':
        for (const given of tasksOf(headerOf(signature))) waiting.push({ given, outer: {}, errbacks: null, counts: false })
        waiting.push({ given: bodyOf(signature), outer: ofEnd(options), errbacks, counts })
        break
      case 'task': {
        const id = nameAt(options, 'task_id')
        if (id !== undefined)
          yield { ...doomed(id, options), chord: counts ? (options.chord ?? null) : null, errbacks: distinct(errbacks ?? []) }
      }
    }
  }
}

function doomed(id: string, options: Options): Omit<Doomed, 'chord'> {
  const { group_index: index, ignore_result: ignores } = options
  return {
    id,
    parentId: nameAt(options, 'parent_id') ?? null,
    rootId: nameAt(options, 'root_id') ?? null,
    groupId: nameAt(options, 'group_id') ?? null,
    groupIndex: typeof index === 'number' ? index : null,
    errbacks: [],
    ignoresResult: ignores === true,
    replyTo: nameAt(options, 'reply_to'),
  }
}

function ofEnd({ task_id, chord, group_id, group_index, root_id }: Options): Options {
  return present({ task_id, chord, group_id, group_index, root_id })
}

/** All members of a group share its chord, and none its id. */
function ofMembers({ chord, group_id, root_id }: Options): Options {
  return present({ chord, group_id, root_id })
}

function present(options: Options): Options {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null))
}

/** Celery links the errbacks of a composite to its parts, too: each is told once. */
function distinct(errbacks: readonly unknown[]): readonly unknown[] {
  return errbacks.length < 2 ? errbacks : [...new Map(errbacks.map((errback) => [encodeJson(errback, 'link_error'), errback])).values()]
}
