"""The document's loop, runnable (its undefined 'done' and its action_dim=1 mended): the frozen baseline. usage: document_loop.py ACTIONS SEED EPISODES [step]; ACTIONS=2; 'step' updates once per environment step."""
import sys, time, random
import numpy as np, torch, torch.nn as nn, gymnasium as gym
torch.set_num_threads(1)
action_dim=int(sys.argv[1]); seed=int(sys.argv[2]); eps_total=int(sys.argv[3]); per_step=len(sys.argv)>4 and sys.argv[4]=='step'
random.seed(seed);np.random.seed(seed);torch.manual_seed(seed)
def MLP(i,o,h): return nn.Sequential(nn.Linear(i,h),nn.ReLU(),nn.Linear(h,o))
q,qt=MLP(4,2,128),MLP(4,2,128); qt.load_state_dict(q.state_dict())
opt=torch.optim.Adam(q.parameters(),lr=5e-4); crit=nn.SmoothL1Loss()
buf=[None]*50000; idx=size=0
env=gym.make('CartPole-v1'); t0=time.time(); rets=[]; steps=0; ups=0
def update():
    ii=random.sample(range(size),256); b=[buf[i] for i in ii]
    s,a,r,s_,d=[torch.cat(x) for x in zip(*b)]
    with torch.no_grad():
        y=r+1.0*qt(s_).max(-1,keepdim=True)[0]*(1-d)
    l=crit(q(s).gather(1,a),y); opt.zero_grad(); l.backward(); opt.step(); return l.item()
s,_=env.reset(seed=seed)
for n in range(eps_total):
    eps=max(0.01,0.08-0.01*(n/200))
    if n: s,_=env.reset()
    G=0
    while True:
        st=torch.tensor(s).view(1,4)
        qs=q(st)
        a=int(np.random.choice(range(action_dim))) if np.random.uniform()<=eps else int(qs.argmax(-1))
        s2,r,te,tr,_=env.step(a); d=te or tr; steps+=1
        buf[idx]=(st,torch.tensor(a).view(1,1),torch.tensor(r/100.).float().view(1,1),torch.tensor(s2).view(1,4),torch.tensor(float(d)).view(1,1)); idx=(idx+1)%50000; size=min(size+1,50000)
        s=s2; G+=r
        if per_step and size>=2000: update(); ups+=1
        if d: break
    rets.append(G)
    if not per_step and size>=2000: update(); ups+=1
    if n%10==0: qt.load_state_dict(q.state_dict())
    if n%100==0: print(f"Episode : {n:4d} | Cumulative Reward : {G:4.0f} | mean100 {np.mean(rets[-100:]):6.1f} | Epsilon : {eps:.3f} | steps {steps} | updates {ups} | {time.time()-t0:.0f}s",flush=True)
print('final mean100',np.mean(rets[-100:]),'best mean100',max(np.mean(rets[i:i+100]) for i in range(len(rets)-99)))
print('steps',steps)
