#!/usr/bin/env node
/** The `qfl` command. */
import { Command } from 'commander';
import { registerAccount } from './account.ts';
import { registerAudit } from './audit.ts';
import { registerBackup } from './backup.ts';
import { registerConfig } from './config.ts';
import { registerEmergency } from './emergency.ts';
import { registerKeys } from './keys.ts';
import { registerLogin } from './login.ts';
import { registerModel } from './model.ts';
import { registerPlan } from './plan.ts';
import { registerPrivacy } from './privacy.ts';
import { loadProgram } from './programs.ts';
import { registerQuery } from './query.ts';
import { registerRound } from './round.ts';
import { registerServiceKey } from './service-key.ts';
import { registerSite } from './site.ts';
import { registerTask } from './task.ts';
import { registerUp } from './up.ts';
import { VERSION } from '../version.ts';

const program = new Command('qfl')
  .description('LLM answers and statistics across hospitals that keep their data')
  .version(VERSION)
  .showHelpAfterError('(add --help for what there is)');

registerUp(program);
registerKeys(program);
for (const name of ['coordinator', 'agent'] as const) (await loadProgram(name))(program);
registerSite(program);
registerLogin(program);
registerAccount(program);
registerServiceKey(program);
registerQuery(program);
registerPlan(program);
registerPrivacy(program);
registerTask(program);
registerRound(program);
registerModel(program);
registerAudit(program);
registerEmergency(program);
registerBackup(program);
registerConfig(program);

await program.parseAsync();
