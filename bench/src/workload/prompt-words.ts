/**
 * 512 frequent English words of three to nine letters. Each is one token behind a space, and at the start of a text, in the
 * vocabularies of GPT-2, cl100k, Falcon, Llama 2, Phi-3, Mistral and OpenLLaMA, so that so many words are so many tokens there.
 */
export const promptWords: readonly string[] = `
the and that was his had with for her you not she have but said were which from all him they this would been when one
who there out what will very are could into about little your their more like upon them some should than did has man any
see down never know come now before then made our must such over old think two much went only might shall after great
can time how may good other where thought first its say own back tell even though these make way long men through last
quite just those ever well being still take look most day found put young yet while without face hand because many
always again nothing eyes here heard left going get stood away under once too got let against turned three every head
something give same off seen felt round place between things also done thing mind both another sat since looking better
find few rather people love far life right woman house new almost called each hands having want set heart part anything
course half side among kind night white word next years end soon sure full name lay really father best fell friend until
whether gone days nor keep door held light ask feel voice words perhaps black near why room home used answered small
coming along work help leave talk does whose world call known mother less during given high sort open matter mean making
often within ran close large hour four live hard second boy letter above kept five read fair show sent standing dark
girl big case red strong present able save bring air taking children led hold forth turn rest else lost none opened rose
clear need point thinking deal sun either friends use times women pretty care early meet met short remember money year
ten sound run business stand green art answer wife sit walk received water doing happy fire sense person state low fact
comes alone arms bad late ready forward heavy ought country try around hair question true son deep fine cut child fall
bear sometimes front hours family except change power top mine story thus eye ground return wind city road blue makes
bright six write mere folk seeing order body reason getting secret quiet cast plain number truth past written subject
figure although song later broken straight arm sweet send different stone probably position interest cold bit living
table line pass easy chair sorry lying real foot window hung running ill wild lie wood wrong spoken begin length nature
town wall follow doctor company mouth battle fresh play land played ways human holding earth changed thank piece private
free whatever added pay natural likely walking boat fight yellow instead public third sleep bed trust lead step pleasant
daughter game carry soft paper force usual stay king wise cause single watch placed general form bound started common
unless paid sword seven worth covered married raised outside brown break touch character wide account below party
perfect church grass fixed note rich hot due letters writing object speech view
`
  .trim()
  .split(/\s+/);
