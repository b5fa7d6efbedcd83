/** The small English of questions over terms. A word that is neither here nor a term makes the question a free one: nothing is ignored. */
import type { ConceptGroup } from '../../shared/wire/stats/ask.ts';

const set = (words: string): ReadonlySet<string> => new Set(words.split(' '));

const GROUP_WORDS: Readonly<Record<ConceptGroup, string>> = {
  medications:
    'medication medications medicine medicines drug drugs prescription prescriptions treatment treatments',
  conditions:
    'condition conditions diagnosis diagnoses disease diseases comorbidity comorbidities illness illnesses problem problems disorder disorders',
  procedures: 'procedure procedures operation operations surgery surgeries intervention interventions',
  observations:
    'observation observations test tests lab labs measurement measurements investigation investigations',
};
const GROUPS = new Map<string, ConceptGroup>(
  (['medications', 'conditions', 'procedures', 'observations'] as const).flatMap((group) =>
    GROUP_WORDS[group].split(' ').map((word): [string, ConceptGroup] => [word, group]),
  ),
);
export const groupOf = (word: string): ConceptGroup | undefined => GROUPS.get(word);

const SEX_WORDS = new Map<string, 'female' | 'male'>([
  ...['women', 'woman', 'female', 'females'].map((word): [string, 'female'] => [word, 'female']),
  ...['men', 'man', 'male', 'males'].map((word): [string, 'male'] => [word, 'male']),
]);
export const sexOf = (word: string): 'female' | 'male' | undefined => SEX_WORDS.get(word);

/** Who the question is about; women, adults and the like are such words too. */
export const POPULATION = set(
  'patients patient people persons person individuals those cases inpatients outpatients everyone everybody',
);

/** What patients do with terms. */
export const VERBS = set(
  'have has had take takes took use uses used receive receives received get gets got undergo undergoes underwent undergone ' +
    'suffer suffers suffered prescribed given on treated diagnosed develop develops developed measured taking using receiving getting undergoing',
);
/** Before a verb: it belongs to the description of the patients, not to what is asked. */
export const RELATIVES = set('who that which whom');
export const MARKERS = set('among amongst in within of for');
export const NEGATIONS = set('without no not never except excluding');

/** Start of a question that is answered with yes or no. */
export const YES_NO = set('do does did are is have has can');

/** "How …", "what share …": asks for a number. */
export const AMOUNT =
  /\b(?:how (?:common|frequent|often|many|prevalent|usual|widespread)|(?:share|proportion|percentage|percent|fraction|prevalence|frequency|number|rate) of|count)\b/;
/** "Which …": asks for a list, when a kind of term is named. */
export const LISTING = /\b(?:which|what|list|show|name|top|most (?:common|frequent|often))\b/;
export const COUNTING = /\b(?:how many|number of|count)\b/;

/** Words that change nothing about who or what is counted. */
export const FILLERS = set(
  'a an the do does did are is was were be been being how common commonly frequent frequently often usual usually typically generally ' +
    'mostly most many much share proportion percentage percent fraction prevalence prevalent frequency rate number count widespread what which list show ' +
    'name tell give me us we you can could please about our your hospital hospitals site sites federation records record recorded ' +
    'their they them also other any all and or both of in for with there likely typical seen found known it its to by at from having who that than ' +
    'history top usage affected related associated documented per cent one',
);
