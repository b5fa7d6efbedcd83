/** The folder of an agent on this machine, opened by a command while no agent runs on it. */
import { AGENT_HOME } from '../../shared/cli/connect.ts';
import { systemClock } from '../../shared/clock.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { type AgentHome, openAgentHome } from '../home.ts';

export interface HomeOption {
  readonly home?: string;
  readonly json?: boolean;
}

export const homeOf = ({ home }: HomeOption): string => home ?? process.env['QFL_HOME'] ?? AGENT_HOME;

/** Works on the folder itself; a running agent holds it, and then this says so. */
export const withHome = async <T>(options: HomeOption, use: (home: AgentHome) => Promise<T>): Promise<T> => {
  const home = await openAgentHome({
    sources: {
      home: homeOf(options),
      environment: process.env['MASTER_KEY'],
      credentialsFolder: process.env['CREDENTIALS_DIRECTORY'],
    },
    clock: systemClock,
    random: secureRandomBytes,
  });
  try {
    return await use(home);
  } finally {
    await home.close();
  }
};
