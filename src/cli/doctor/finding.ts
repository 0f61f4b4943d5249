import type { ServerFinding } from '../../internal/examination.js'

/** What `doctor` found: about what, how it is, the evidence, and what to do. */
export interface Finding extends ServerFinding {
  /** What was examined: `broker`, `results`, `workers`, `queues`, `settings`. */
  readonly area: string
}

export type Area = (about: string, level: Finding['level'], evidence: string, fix?: string) => Finding

/** Makes the findings of one area. */
export function area(name: string): Area {
  return (about, level, evidence, fix) => ({ area: name, about, level, evidence, ...(fix === undefined ? {} : { fix }) })
}
