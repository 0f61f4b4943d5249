/**
 * What failed, in a few lines each: written to `$CELERIAC_TEST_FOLDER/failures.json` for scripts/test.mjs, which prints it last, where nobody has to look for
 * it, and looks at those files again.
 */
import { writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { Reporter, TestModule, Vitest } from 'vitest/node'
import type { Failure } from '../../scripts/second-look.mjs'

/** Just what is read of Vitest's serialized errors. */
interface Said {
  message?: string
  VITEST_TEST_PATH?: unknown
}

const linesOfOne = 4

export default class Failures implements Reporter {
  #root = process.cwd()

  onInit(vitest: Vitest): void {
    this.#root = vitest.config.root
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly Said[]): void {
    const folder = process.env.CELERIAC_TEST_FOLDER
    if (folder === undefined) return
    const failures = [...modules.flatMap((module) => this.#ofModule(module)), ...unhandled.map((error) => this.#outside(error))]
    writeFileSync(`${folder}/failures.json`, JSON.stringify(failures))
  }

  #ofModule(module: TestModule): Failure[] {
    const file = relative(this.#root, module.moduleId)
    // Of the file or of a suite: an import that fails, a hook.
    const around = [...module.errors(), ...[...module.children.allSuites()].flatMap((suite) => suite.errors())]
    const inTests = [...module.children.allTests('failed')].map((test) => ({
      file,
      name: test.fullName,
      says: (test.result().errors ?? []).map(firstLines).join('\n'),
      isTest: true,
    }))
    return [...around.map((error) => ({ file, name: 'outside its tests', says: firstLines(error), isTest: false })), ...inTests]
  }

  #outside(error: Said): Failure {
    const path = error.VITEST_TEST_PATH
    return {
      file: typeof path === 'string' ? relative(this.#root, path) : '',
      name: 'an error nobody caught',
      says: firstLines(error),
      isTest: false,
    }
  }
}

function firstLines({ message = '' }: Said): string {
  return message.split('\n').slice(0, linesOfOne).join('\n')
}
