// Microsoft's own parser of Power Query M: reads an expression from standard input, and says why it is none.

import { readFileSync } from 'node:fs'
import powerQuery from '@microsoft/powerquery-parser'

const { DefaultSettings, TaskUtils } = powerQuery
const task = await TaskUtils.tryLexParse(DefaultSettings, readFileSync(0, 'utf8'))
if (!TaskUtils.isParseStageOk(task)) {
  console.error(task.error?.message ?? `stopped at ${task.stage}`)
  process.exit(1)
}
