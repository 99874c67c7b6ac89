import torch,time,sys,json
from dataclasses import replace
from journeyman.pretrain import *
from journeyman.pretrain import pad
torch.set_num_threads(2)
FAM="chain_sum,products,letter_counting,spell_backward,gcd,simple_equations"
name,opt,lr,bt,shape=sys.argv[1],sys.argv[2],float(sys.argv[3]),int(sys.argv[4]),sys.argv[5]
T=140
r=Recipe(batch_tokens=bt,families=FAM,lr=lr,roles=False)
if shape=="wide": r=replace(r,hidden=160,intermediate=448,layers=4,head_dim=40)
if shape=="wide2": r=replace(r,hidden=192,intermediate=512,layers=3,head_dim=48)
tok=train_tokenizer(r,5000)
ev={}
for f in FAM.split(","):
    e=next(iter(Rows(replace(r,families=f,seed=9,batch_tokens=8000),tok,1))); ev[f]=e
torch.set_num_threads(2)
t=Trainer(r)
mats=[p for n,p in t.model.named_parameters() if p.dim()==2 and "embed" not in n]
rest=[p for n,p in t.model.named_parameters() if not(p.dim()==2 and "embed" not in n)]
if opt=="muon":
    opts=[torch.optim.Muon(mats,lr=lr,weight_decay=0.1,adjust_lr_fn="match_rms_adamw"),torch.optim.AdamW(rest,lr=3e-3,betas=(.9,.98),weight_decay=0.0,fused=True)]
else: opts=[t.optimizer]
base=[[g["lr"] if opt=="muon" else lr for g in o.param_groups] for o in opts]
dl=DataLoader(Rows(r,tok,0),batch_size=None,num_workers=1,prefetch_factor=64)
t0=time.time(); step=rows=toks=0
for b in dl:
    u=(time.time()-t0)/T
    if u>1: break
    k=min(1,u/0.05,(1-u)/0.6)
    for o,bl in zip(opts,base):
        for g,l in zip(o.param_groups,bl): g["lr"]=l*k
    with torch.autocast("cpu",torch.bfloat16): loss=loss_of(t.model,*pad(b))
    loss.backward(); torch.nn.utils.clip_grad_norm_(t.model.parameters(),1.0)
    for o in opts: o.step(); o.zero_grad()
    step+=1; rows+=len(b); toks+=sum(len(x) for x,_ in b)
with torch.no_grad(): res={f:round(loss_of(t.model,*pad(e)).item(),4) for f,e in ev.items()}
print(name,opt,lr,bt,shape,"steps",step,"rows",rows,"tok/s",int(toks/T),"mean",round(sum(res.values())/len(res),4),res,flush=True)
