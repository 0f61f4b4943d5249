// @ts-check
// What is made of failed tests. On a busy machine one of thousands may miss a deadline of its own, so few failures are looked at again, alone: what fails
// again is broken. What then holds does not fail the run, but is told by name in its last lines: it is unsteady, which is a bug of the test or a race of ours.

/** As test/harness/failures.ts writes it; `file` is empty when nobody knows it. @typedef {{ file: string, name: string, says: string, isTest: boolean }} Failure */

/** More files than these are no accident of a busy machine. */
const mostFiles = 8

/** The files to look at again; none when that would prove nothing. @param {readonly Failure[]} failures @returns {readonly string[]} */
export function filesToLookAtAgain(failures) {
  const files = [...new Set(failures.map(({ file }) => file))]
  return files.includes('') || files.length > mostFiles ? [] : files
}

/**
 * What failed in the end, and what held when it was looked at again. @param {readonly Failure[]} first @param {readonly Failure[]} second
 * @returns {{ failed: readonly Failure[], unsteady: readonly Failure[] }}
 */
export function judge(first, second) {
  const isIn = (/** @type {readonly Failure[]} */ failures, /** @type {Failure} */ { file, name }) =>
    failures.some((other) => other.file === file && other.name === name)
  return { failed: second, unsteady: first.filter((failure) => !isIn(second, failure)) }
}
