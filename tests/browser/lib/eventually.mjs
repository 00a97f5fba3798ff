// Waiting for a condition. The patience is for machines that are busy with other things; nothing here
// says how fast anything has to be.
import { setTimeout as pause } from 'node:timers/promises';

export const PATIENCE = 1000 * (process.env.BOMA_TEST_PATIENCE ?? 300);

/** Answers with what `look` answers with, once that is true; says what was last seen when it never is. */
export async function eventually(what, look) {
  const until = Date.now() + PATIENCE;
  let seen;
  for (;;) {
    try {
      const found = await look();
      if (found) return found;
      seen = found;
    } catch (error) {
      seen = error;
    }
    if (Date.now() > until) throw new Error(`never: ${what}; last seen: ${seen}`);
    await pause(100);
  }
}
